//! What a file is that is no custom-format archive, and which command reads it.

/// What the first bytes of a file, some hundred of them, are the beginning of, and what to do with it; none for a
/// custom-format archive.
pub(super) fn other_than_archive(beginning: &[u8]) -> Option<(&'static str, &'static str)> {
    let has = |at: usize, bytes: &[u8]| beginning.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    let says = |words: &[u8]| beginning.windows(words.len()).any(|window| window == words);
    if has(0, b"PGDMP") {
        return None;
    }
    Some(if beginning.is_empty() {
        ("empty", "download or copy it again")
    } else if has(257, b"ustar") && has(0, b"toc.dat") {
        ("an archive in pg_dump's tar format", "restore it with pg_restore")
    } else if has(257, b"ustar") {
        (
            "a tar, as backups of media files are",
            "unpack it with tar -xf, or copy single files out with holdfast backup get",
        )
    } else if has(0, &[0x28, 0xb5, 0x2f, 0xfd]) {
        (
            "compressed by zstd, as dumps of MySQL and MariaDB are (database.sql.zst)",
            "restore it with zstd -dc FILE | mariadb, or mysql",
        )
    } else if has(0, &[0x1f, 0x8b]) {
        ("compressed by gzip", "unpack it with gunzip, and restore what is in it")
    } else if says(b"MySQL dump") || says(b"MariaDB dump") || has(0, b"/*M!") {
        ("SQL of MySQL or MariaDB", "restore it with mariadb or mysql")
    } else if says(b"PostgreSQL database dump") {
        ("SQL of PostgreSQL", "restore it with psql")
    } else {
        (
            "not an archive in pg_dump's custom format",
            "name a file that holdfast dump or pg_dump -Fc has made",
        )
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn tar(name: &str) -> Vec<u8> {
        let mut block = vec![0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[257..262].copy_from_slice(b"ustar");
        block
    }

    #[rstest]
    #[case::mariadb(b"/*M!999999\\- enable the sandbox mode */ \n".to_vec(), "mariadb")]
    #[case::mysql(b"-- MySQL dump 10.13  Distrib 8.0.36".to_vec(), "mysql")]
    #[case::mysql_backup(b"\x28\xb5\x2f\xfd\x04\x58".to_vec(), "zstd -dc")]
    #[case::media(tar("media/logo.png"), "tar -xf")]
    #[case::pg_dump_tar(tar("toc.dat"), "pg_restore")]
    #[case::pg_dump_plain(b"--\n-- PostgreSQL database dump\n--\n".to_vec(), "psql")]
    #[case::gzip(b"\x1f\x8b\x08".to_vec(), "gunzip")]
    #[case::nothing(Vec::new(), "again")]
    #[case::anything(b"hello".to_vec(), "pg_dump -Fc")]
    fn another_file_says_which_command_reads_it(#[case] beginning: Vec<u8>, #[case] fix: &str) {
        let (what, said) = other_than_archive(&beginning).unwrap();
        assert!(said.contains(fix), "{what}: {said}");
    }

    #[test]
    fn an_archive_is_nothing_else() {
        assert_eq!(other_than_archive(b"PGDMP\x01\x0e\x00"), None);
    }
}
