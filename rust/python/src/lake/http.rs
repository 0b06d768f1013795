//! HTTP by Python's own client: its certificates, its proxies.

use bytes::Bytes;
use pyo3::{
    exceptions::{PyConnectionError, PyOSError, PyTimeoutError},
    prelude::*,
    types::PyBytes,
};
use ruvector_lake::backend::parquet::s3::{Request, Response, SendError, Transport};

use crate::gate;

/// A function that sends a request: method, address, headers and body in; status, headers and body out.
#[derive(Debug)]
pub(super) struct PyTransport(pub(super) Py<PyAny>);

type Answered = (u16, Vec<(String, String)>, Vec<u8>);

impl Transport for PyTransport {
    fn send(&self, request: Request) -> Result<Response, SendError> {
        let sent = gate::attach(|py| {
            let text = |value: &[u8]| value.iter().map(|&byte| char::from(byte)).collect::<String>();
            let headers: Vec<(&str, String)> =
                request.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
            let asked = (&request.method, &request.url, headers, PyBytes::new(py, &request.body));
            let answer = self.0.bind(py).call1(asked).and_then(|answer| answer.extract::<Answered>());
            answer.map_err(|error| failed(py, &error))
        });
        let (status, headers, body) =
            sent.unwrap_or_else(|| Err(SendError::Other("python is shutting down".into())))?;
        let latin = |text: String| text.chars().map(|letter| letter as u8).collect();
        let headers = headers.into_iter().map(|(name, value)| (name, latin(value))).collect();
        Ok(Response { status, headers, body: Bytes::from(body) })
    }
}

/// Why a request was not answered.
fn failed(py: Python<'_>, error: &PyErr) -> SendError {
    let value = error.value(py);
    let kind = value.get_type().name().map_or_else(|_| String::new(), |name| name.to_string());
    let text = format!("{kind}: {}", value.str().map(|text| text.to_string()).unwrap_or_default());
    if error.is_instance_of::<PyTimeoutError>(py) {
        SendError::Timeout(text)
    } else if error.is_instance_of::<pyo3::exceptions::PyConnectionRefusedError>(py) {
        SendError::Connect(text)
    } else if error.is_instance_of::<PyConnectionError>(py) || kind == "IncompleteRead" {
        SendError::Interrupted(text)
    } else if error.is_instance_of::<PyOSError>(py) {
        SendError::Connect(text)
    } else {
        SendError::Other(text)
    }
}
