//! What there is to know of a collection.

use serde::Deserialize;
use serde_json::json;

use super::{Client, Refused};

/// What a server tells of a collection.
#[derive(Clone, Debug, Deserialize)]
pub struct Description {
    /// Elements per vector.
    pub dim: usize,
    /// The number of rows.
    pub rows: usize,
    /// The name of the metric.
    pub metric: String,
    /// The type of ids.
    pub id_type: String,
}

impl Client {
    /// What a collection is now.
    ///
    /// # Errors
    /// [`Refused`], as the server says.
    pub async fn describe(&self, collection: &str) -> Result<Description, Refused> {
        let body = json!({"collection": collection}).to_string();
        let told = self.action("stats", &body, true).await?;
        let told = told.first().map_or("", String::as_str);
        serde_json::from_str(told)
            .map_err(|error| Refused::server(self.location(), format!("stats that cannot be read: {error}")))
    }
}
