//! The request as it comes: a message is read when its client's quota has room for all of it, and not before.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures::{FutureExt, future::BoxFuture};
use http_body::{Body, Frame};
use tonic::Status;

use crate::{
    call::Call,
    quota::{Share, exhausted},
};

/// What comes before each message of gRPC: whether it is compressed, and how long it is.
const HEADER: usize = 5;

/// The body of a request. It ends a frame where a message ends, so that the next message is only asked for by whoever is
/// done with the one before; its share is taken then. A call that waits for a share holds none.
pub(crate) struct Metered<B> {
    body: B,
    call: Call,
    /// What came and was not handed on.
    rest: Bytes,
    header: [u8; HEADER],
    /// How much of the header came.
    headed: usize,
    /// How much of the message is still to come.
    left: usize,
    waiting: Option<BoxFuture<'static, Option<Share>>>,
}

impl<B> Metered<B> {
    pub(crate) fn new(body: B, call: Call) -> Self {
        let header = [0; HEADER];
        Self { body, call, rest: Bytes::new(), header, headed: 0, left: 0, waiting: None }
    }
}

impl<B> Body for Metered<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(waiting) = &mut this.waiting {
                let share = ready!(waiting.poll_unpin(context));
                (this.waiting, this.headed) = (None, 0);
                this.call.hold(share);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&this.header)))));
            }
            if this.left > 0 && !this.rest.is_empty() {
                let part = this.rest.split_to(this.left.min(this.rest.len()));
                this.left -= part.len();
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if !this.rest.is_empty() {
                let part = (HEADER - this.headed).min(this.rest.len());
                this.rest.copy_to_slice(&mut this.header[this.headed..this.headed + part]);
                this.headed += part;
                if this.headed == HEADER {
                    let [_, length @ ..] = this.header;
                    let length = u32::from_be_bytes(length) as usize;
                    let most = this.call.shared().limits.message_bytes;
                    if length > most {
                        let refused = format!("message: expected at most {most} bytes, got {length}");
                        return Poll::Ready(Some(Err(exhausted(refused))));
                    }
                    this.left = length;
                    this.waiting = Some(this.call.take_in(HEADER + length).boxed());
                }
                continue;
            }
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.call.received(data.len());
                        this.rest = data;
                    }
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
                None if this.headed > 0 => {
                    // The decoder is told of the header that stays without its end.
                    let part = Bytes::copy_from_slice(&this.header[..std::mem::take(&mut this.headed)]);
                    return Poll::Ready(Some(Ok(Frame::data(part))));
                }
                None => {
                    // A stream that its client has cancelled ends like any other, but for this.
                    if !this.body.is_end_stream() {
                        this.call.stop();
                    }
                    return Poll::Ready(None);
                }
            }
        }
    }
}
