//! Protobuf messages on their way in and out.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Bytes of a buffer at first. It grows to what a message needs, and a hundred pods may wait for theirs.
const BUFFER: usize = 1_024;
/// Bytes after which what is encoded goes out.
const ENOUGH: usize = 32 * 1_024;

/// What `tonic_prost::ProstCodec` does, which holds eight times as much for each message that may come or go.
pub struct SmallBuffers<Out, In>(PhantomData<fn(Out) -> In>);

impl<Out, In> Default for SmallBuffers<Out, In> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Out: Message + Send + 'static, In: Message + Default + Send + 'static> Codec for SmallBuffers<Out, In> {
    type Encode = Out;
    type Decode = In;
    type Encoder = ProstEncoder<Out>;
    type Decoder = ProstDecoder<In>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER, ENOUGH))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER, ENOUGH))
    }
}
