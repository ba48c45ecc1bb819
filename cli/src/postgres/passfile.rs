//! The password file: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt as _, path::Path};

use crate::failure::Failure;

/// The password for host, port, database and user in `file`, if there is one.
pub(super) fn look_up(file: &Path, wanted: &[&str; 4]) -> Result<Option<String>, Failure> {
    let unreadable = |error: &std::io::Error| {
        Failure::new(format!("the password file {} cannot be read: {error}", file.display()))
    };
    let metadata = match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(&error)),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        // libpq only warns and goes on without; then nobody knows why the password is wrong.
        return Err(Failure::new(format!("others may read the password file {}", file.display()))
            .fix(format!("chmod 600 {}", file.display())));
    }
    let text = fs::read_to_string(file).map_err(|error| unreadable(&error))?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).find_map(|line| password(line, wanted)))
}

/// The password in `line`, if it is for `wanted`.
fn password(line: &str, wanted: &[&str; 4]) -> Option<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let count = fields.len();
        let last = fields.last_mut()?;
        match character {
            '\\' => last.push(characters.next().unwrap_or('\\')),
            // The password is the rest of the line; a colon in it may stand as it is.
            ':' if count <= wanted.len() => fields.push(String::new()),
            other => last.push(other),
        }
    }
    let password = fields.get(wanted.len())?.clone();
    // An escaped star means a star; nobody is called that.
    fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted).then_some(password)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("h:5432:shop:me:secret", Some("secret"))]
    #[case("*:*:*:*:any", Some("any"))]
    #[case("*:*:*:me:a\\:b\\\\c", Some("a:b\\c"))]
    #[case("h:5432:shop:me:a:b", Some("a:b"))]
    #[case("h:5433:shop:me:secret", None)]
    #[case("h:5432:shop:you:secret", None)]
    #[case("h:5432:shop:me", None)]
    #[case("", None)]
    fn a_line_is_for_whom_it_names(#[case] line: &str, #[case] expected: Option<&str>) {
        assert_eq!(password(line, &["h", "5432", "shop", "me"]).as_deref(), expected);
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        let wanted = ["h", "5432", "shop", "me"];
        assert_eq!(look_up(&file, &wanted).unwrap(), None);
        fs::write(&file, "# h:5432:shop:me:no\nother:*:*:*:no\nh:*:*:me:first\n*:*:*:*:second\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(look_up(&file, &wanted).unwrap().as_deref(), Some("first"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(look_up(&file, &wanted).unwrap_err().to_string().contains("chmod 600"));
    }
}
