//! Compression of an answer, because `x-demo-encoding` asked for it.
//!
//! Whether the caller accepts it is not looked at: a gateway that lets a compressed answer through
//! unread must be found out.

use std::io::{self, Write as _};
use std::mem;

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Middle of brotli's range from 0 to 11: fast enough for a flush per frame.
const BROTLI_QUALITY: u32 = 5;
/// Base-2 logarithm of brotli's window, the value that most software uses.
const BROTLI_WINDOW: u32 = 22;
/// Bytes that brotli collects before it works on them.
const BROTLI_BUFFER: usize = 4096;

/// A content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// Deflate in zlib's wrapping, as RFC 9110 has it.
    Deflate,
    Brotli,
}

impl Encoding {
    /// The encoding of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Deflate, Self::Brotli]
            .into_iter()
            .find(|encoding| encoding.name() == name)
    }

    /// Its name in `content-encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
        }
    }

    /// Compresses a whole body.
    pub(super) fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut encoder = Encoder::new(self);
        encoder.write_all(bytes)?;
        encoder.finish()
    }
}

/// Compresses a stream piece by piece.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    /// Boxed, because it is much larger than the others.
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    /// An encoder that has seen nothing.
    pub(super) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            Encoding::Deflate => {
                Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::default()))
            }
            Encoding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
        }
    }

    /// The next piece of the stream: a receiver can read all of `bytes` as soon as it has it.
    pub(super) fn piece(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.write_all(bytes)?;
        Ok(match self {
            Self::Gzip(encoder) => {
                encoder.flush()?;
                mem::take(encoder.get_mut())
            }
            Self::Deflate(encoder) => {
                encoder.flush()?;
                mem::take(encoder.get_mut())
            }
            Self::Brotli(encoder) => {
                encoder.flush()?;
                mem::take(encoder.get_mut())
            }
        })
    }

    /// The end of the stream.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Deflate(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
        }
    }
}
