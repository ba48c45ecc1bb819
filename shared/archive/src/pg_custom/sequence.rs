//! All data of an archive, block after block as they stand in it.

use std::io::{self, Read};

use super::{
    block::{Block, BlockData, INT_BYTES, invalid},
    codec::Compression,
    fields::Fields,
    reader::{BlockKind, oid},
};

/// Reads every block from the end of a table of contents to the end of the archive. `from` begins at byte `position`. `look`
/// is shown the data of each entry with its dump id, and of each large object with its OID, decompressed; what it does not read is read
/// for it, so that an end and its checksum are always seen. Returns the blocks.
///
/// Fails on the first byte that cannot be, with [`io::ErrorKind::InvalidData`] or [`io::ErrorKind::UnexpectedEof`].
pub fn read_blocks(
    from: impl Read,
    position: u64,
    compression: Compression,
    mut look: impl FnMut(BlockKind, i32, &mut dyn Read) -> io::Result<()>,
) -> io::Result<Vec<Block>> {
    let mut from = Counted { from, at: position };
    let mut blocks = Vec::new();
    loop {
        let position = from.at;
        let mut code = [0];
        if from.read(&mut code)? == 0 {
            return Ok(blocks);
        }
        let kind = BlockKind::of(code[0]).map_err(invalid)?;
        let dump_id = Fields::new(&from.field()?).int().map_err(invalid)?;
        match kind {
            BlockKind::Data => from.data(compression, |data| look(kind, dump_id, data))?,
            BlockKind::LargeObjects => loop {
                let field = from.field()?;
                if field == [0; INT_BYTES] {
                    break;
                }
                let oid = oid(&mut Fields::new(&field)).map_err(invalid)?;
                from.data(compression, |data| look(kind, oid, data))?;
            },
        }
        blocks.push(Block { kind, dump_id, position, bytes: from.at - position });
    }
}

/// Knows where in the archive it is.
struct Counted<R> {
    from: R,
    at: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let some = self.from.read(into)?;
        self.at += some as u64;
        Ok(some)
    }
}

impl<R: Read> Counted<R> {
    fn field(&mut self) -> io::Result<[u8; INT_BYTES]> {
        let mut field = [0; INT_BYTES];
        self.read_exact(&mut field)?;
        Ok(field)
    }

    fn data(
        &mut self,
        compression: Compression,
        look: impl FnOnce(&mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut data = BlockData::of_chunks(compression, self)?;
        look(&mut data)?;
        io::copy(&mut data, &mut io::sink())?;
        Ok(())
    }
}
