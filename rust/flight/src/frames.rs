//! Answers as frames of gRPC that share their memory.
//!
//! The codec of tonic writes each message into one buffer, which for the batches of an index is as much fresh memory as the
//! index has. Here only what stands before a body is written; the body goes out as it lies. The service hands its stream
//! over in an extension of the response, in place of a body, because the generated code of Flight has its codec fixed.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use arrow_flight::FlightData;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use tonic::{Response, Status};

use crate::call::Answers;

/// What comes before each message of gRPC: a byte, and its length.
const PREFIX: usize = 5;
/// The number of the body among the fields of `FlightData`: the last one.
const BODY: u32 = 1000;
/// Bodies below this are cheaper to copy than to be handed on by themselves.
const SMALL: usize = 16 << 10;

/// Answers that are on their way to the transport.
#[derive(Clone)]
pub(crate) struct Handed(Arc<Mutex<Option<Answers<FlightData>>>>);

/// A response that is nothing but these answers.
pub(crate) fn respond(answers: Answers<FlightData>) -> Response<Answers<FlightData>> {
    let mut response: Response<Answers<FlightData>> = Response::new(Box::pin(futures::stream::empty()));
    response.extensions_mut().insert(Handed(Arc::new(Mutex::new(Some(answers)))));
    response
}

impl Handed {
    /// The body of the response.
    pub(crate) fn body(&self) -> Option<Frames> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Frames { answers, body: Bytes::new(), over: false })
    }
}

/// Answers as a body of HTTP/2.
pub(crate) struct Frames {
    answers: Answers<FlightData>,
    /// The body of the message whose beginning was handed on.
    body: Bytes,
    over: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if !this.body.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut this.body)))));
        }
        if this.over {
            return Poll::Ready(None);
        }
        let status = match ready!(this.answers.as_mut().poll_next(context)) {
            Some(Ok(message)) => {
                let (head, body) = split(message);
                this.body = body;
                return Poll::Ready(Some(Ok(Frame::data(head))));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        this.over = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

/// A message as what comes before its body, and the body if it is not small.
fn split(mut message: FlightData) -> (Bytes, Bytes) {
    let body = mem::take(&mut message.data_body);
    let small = body.len() < SMALL;
    let mut head =
        BytesMut::with_capacity(PREFIX + message.encoded_len() + 16 + if small { body.len() } else { 0 });
    head.put_bytes(0, PREFIX);
    message.encode_raw(&mut head);
    if !body.is_empty() {
        encode_key(BODY, WireType::LengthDelimited, &mut head);
        encode_varint(body.len() as u64, &mut head);
    }
    let length = head.len() - PREFIX + body.len();
    // Whoever makes messages keeps them below what this can say.
    head[1..PREFIX].copy_from_slice(&(length as u32).to_be_bytes());
    if small {
        head.put_slice(&body);
        return (head.freeze(), Bytes::new());
    }
    (head.freeze(), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_what_the_codec_would_have_written() {
        for size in [0, 1, SMALL - 1, SMALL, 3 * SMALL] {
            let message = FlightData {
                data_header: Bytes::from_static(b"header"),
                app_metadata: Bytes::from_static(b"beside"),
                data_body: vec![7; size].into(),
                ..FlightData::default()
            };
            let (head, body) = split(message.clone());
            let whole = [&head[..], &body[..]].concat();
            assert_eq!(whole[..PREFIX], [&[0][..], &(whole.len() as u32 - 5).to_be_bytes()].concat());
            assert_eq!(FlightData::decode(&whole[PREFIX..]).unwrap(), message, "{size}");
            assert_eq!(body.is_empty(), size < SMALL);
        }
    }
}
