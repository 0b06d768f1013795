//! Asking again: only for what changes nothing, only where the server could not be reached, and never in step with
//! others who do the same.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tonic::Status;

use super::{Client, Refused};

/// How long the first pause may be; each one after it twice as long.
const FIRST: Duration = Duration::from_millis(50);
/// How long any pause may be.
const LONGEST: Duration = Duration::from_secs(2);

impl Client {
    /// What a status means.
    pub(super) fn refused(&self, status: &Status) -> Refused {
        Refused::from_status(self.location(), status)
    }

    /// Does something within the time that a call has, and again after a pause if that may help.
    pub(super) async fn repeated<T, F: Future<Output = Result<T, Refused>>>(
        &self,
        again: bool,
        work: impl Fn() -> F,
    ) -> Result<T, Refused> {
        let all = async {
            let mut tried = 0;
            loop {
                match work().await {
                    Err(refused) if again && refused.retryable && tried < self.0.retries => {
                        tokio::time::sleep(pause(tried)).await;
                        tried += 1;
                    }
                    done => return done,
                }
            }
        };
        let Some(timeout) = self.0.timeout else { return all.await };
        let late = |_| Err(Refused::late(self.location(), timeout.as_secs_f64()));
        tokio::time::timeout(timeout, all).await.unwrap_or_else(late)
    }
}

/// Any time up to a bound that doubles: whoever lost the same server does not come back at the same moment.
fn pause(tried: u32) -> Duration {
    let most = FIRST.saturating_mul(1 << tried.min(16)).min(LONGEST);
    // The hasher's keys are random, in each of them.
    let random = RandomState::new().hash_one(tried) >> 11;
    most.mul_f64(random as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_any_time_up_to_a_bound_that_doubles() {
        for tried in [0, 1, 3, 40] {
            let most = FIRST.saturating_mul(1 << tried.min(16)).min(LONGEST);
            let pauses: Vec<Duration> = (0..64).map(|_| pause(tried)).collect();
            assert!(pauses.iter().all(|pause| *pause <= most));
            assert!(
                pauses.iter().any(|pause| *pause > most / 2) && pauses.iter().any(|pause| *pause < most / 2)
            );
        }
    }
}
