//! Bodies of answers: whole, or piece by piece as somebody makes them.
use hyper::body::{Body, Bytes, Frame};
use serde_json::Value;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Pieces that wait for a reader.
const AHEAD: usize = 4;

pub enum Out {
    Whole(Option<Bytes>),
    Pieces(Receiver<Bytes>),
}
impl Out {
    pub fn json(value: &Value) -> Self {
        // A value always has a text.
        Self::Whole(serde_json::to_vec(value).ok().map(Into::into))
    }
    pub fn pieces() -> (Sender<Bytes>, Self) {
        let (sender, receiver) = channel(AHEAD);
        (sender, Self::Pieces(receiver))
    }
}
impl Body for Out {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => {
                pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }
    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }
    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Pieces(_) => hyper::body::SizeHint::default(),
        }
    }
}

/// One event of a stream, as `text/event-stream` has it.
pub fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}
/// Tells a reader that the stream still lives, and the writer that the reader does.
pub const STILL_HERE: Bytes = Bytes::from_static(b": \n\n");
