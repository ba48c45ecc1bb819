//! How a table is divided, so that several sessions can read it.

use super::statement::CopyStatement;

/// What a range holds, about, in bytes on the server's disk. A range is read by one session; what it gives is held in memory
/// until it is its turn in the archive.
const RANGE_BYTES: u64 = 16 * 1024 * 1024;

/// The first version whose sessions go straight to a range's blocks; before, each would read the whole table.
pub(super) const RANGES_SINCE: u32 = 14;

/// Size of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TableSize {
    /// Blocks of the table itself.
    pub(super) blocks: u64,
    /// Bytes of the table, with the long values that are stored beside it.
    pub(super) bytes: u64,
}

/// The statements that together read what `statement` reads, in order, from a table of this size.
pub(super) fn divide(statement: &CopyStatement, size: Option<TableSize>) -> Vec<Vec<u8>> {
    let ranges = match (statement.divisible(), size) {
        (Some(_), Some(size)) => (size.bytes.div_ceil(RANGE_BYTES)).min(size.blocks),
        _ => 1,
    };
    if ranges < 2 {
        return vec![statement.whole()];
    }
    let blocks = size.unwrap_or_default().blocks;
    // The last range is open: rows that came later are not in the snapshot, but the table may not end where it did.
    let edge =
        |range: u64| u64::try_from(u128::from(blocks) * u128::from(range) / u128::from(ranges)).unwrap_or(0);
    (0..ranges)
        .map(|range| statement.range(edge(range), (range + 1 < ranges).then(|| edge(range + 1))))
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::engines::postgres::statement::Statement;

    fn copy(sql: &str) -> CopyStatement {
        let Ok(Statement::Copy(statement)) = Statement::of(sql.as_bytes()) else { panic!("{sql}") };
        statement
    }

    const TABLE: &str = "COPY public.t (a) TO stdout;";

    #[rstest]
    #[case::unknown_size(TABLE, None, 1)]
    #[case::empty(TABLE, Some((0, 0)), 1)]
    #[case::small(TABLE, Some((1000, 8_192_000)), 1)]
    #[case::large(TABLE, Some((131_072, 1 << 30)), 64)]
    #[case::few_blocks_with_long_values(TABLE, Some((10, 1 << 30)), 10)]
    #[case::one_block_with_long_values(TABLE, Some((1, 1 << 30)), 1)]
    #[case::a_query("COPY (SELECT 1) TO stdout;", Some((131_072, 1 << 30)), 1)]
    fn a_large_table_is_divided(#[case] sql: &str, #[case] size: Option<(u64, u64)>, #[case] ranges: usize) {
        let size = size.map(|(blocks, bytes)| TableSize { blocks, bytes });
        let statements = divide(&copy(sql), size);
        assert_eq!(statements.len(), ranges);
        if ranges == 1 {
            assert_eq!(statements, [sql.as_bytes()]);
        }
    }

    #[test]
    fn every_block_is_in_one_range() {
        let statements = divide(&copy(TABLE), Some(TableSize { blocks: 7, bytes: 3 * RANGE_BYTES }));
        let bounds = |sql: &Vec<u8>| {
            let sql = std::str::from_utf8(sql).unwrap();
            let numbers: Vec<u64> = sql
                .split("'(")
                .skip(1)
                .map(|rest| rest.split(',').next().unwrap().parse().unwrap())
                .collect();
            (numbers[0], numbers.get(1).copied())
        };
        let ranges: Vec<_> = statements.iter().map(bounds).collect();
        assert_eq!(ranges, [(0, Some(2)), (2, Some(4)), (4, None)]);
    }
}
