use rstest::rstest;

use super::*;

/// What a connection comes to, in short.
fn seen(connection: &Connection) -> String {
    let Connection { host, port, database, user, password, .. } = connection;
    format!("{user}:{}@{host}:{port}/{database}", password.as_deref().unwrap_or("-"))
}

#[rstest]
#[case("postgresql://me:s%3Acret%40@db.example:5433/shop", "me:s:cret@@db.example:5433/shop")]
#[case("postgres://me@[::1]:5433/shop", "me:-@::1:5433/shop")]
#[case("postgresql://me@%2Frun%2Fpg/shop?port=1", "me:-@/run/pg:1/shop")]
#[case("postgresql:///shop?host=h&user=me", "me:-@h:5432/shop")]
#[case("postgresql://me@h", "me:-@h:5432/me")]
#[case("host=h port=1 dbname='my shop' user=me password='it\\'s'", "me:it's@h:1/my shop")]
#[case("host = h  user=me", "me:-@h:5432/me")]
fn a_dsn_has_either_form(#[case] dsn: &str, #[case] expected: &str) {
    assert_eq!(seen(&Connection::of(Some(dsn), &Environment::new()).unwrap()), expected);
}

#[test]
fn what_the_dsn_leaves_out_the_environment_says() {
    let environment: Environment = [
        ("PGHOST", "h"),
        ("PGPORT", "1"),
        ("PGUSER", "me"),
        ("PGPASSWORD", "secret"),
        ("PGDATABASE", "shop"),
        ("USER", "root"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    assert_eq!(seen(&Connection::of(None, &environment).unwrap()), "me:secret@h:1/shop");
    assert_eq!(seen(&Connection::of(Some("other"), &environment).unwrap()), "me:secret@h:1/other");
    assert_eq!(seen(&Connection::of(Some("user=you port=2"), &environment).unwrap()), "you:secret@h:2/shop");
}

#[rstest]
#[case("host=h user=me hunter2", "cannot be read")]
#[case("host=h user='me hunter2", "cannot be read")]
#[case("postgresql://me:%zzhunter2@h/shop", "cannot be read")]
#[case("host=h user=me options=hunter2", "\"options\" of the DSN is not supported")]
#[case("host=a,b user=me", "several hosts")]
#[case("host=h port=hunter2 user=me", "the port is no number")]
#[case("postgresql://me:hunter2/x?user=me", "the port is no number")]
#[case("host=h password=my hunter2 user=me", "cannot be read")]
#[case("host=h password=my hunter2=x user=me", "cannot be read")]
#[case("postgresql://me:my?hunter2=x@h/shop", "cannot be read")]
#[case("mysql://me:hunter2@h/shop", "for PostgreSQL only")]
#[case("host=h", "nobody is named")]
fn a_dsn_that_is_no_use_is_refused_and_not_repeated(#[case] dsn: &str, #[case] words: &str) {
    let Err(failure) = Connection::of(Some(dsn), &Environment::new()) else { panic!("{dsn} was taken") };
    let text = failure.to_string();
    assert!(text.contains(words), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[rstest]
#[case("host=db.example user=me", Some(true))]
#[case("host=db.example user=me sslmode=disable", Some(false))]
#[case("host=db.example user=me sslmode=verify-full sslrootcert=system", Some(true))]
#[case("host=localhost user=me", Some(false))]
#[case("host=127.0.0.1 user=me sslmode=verify-full", Some(true))]
#[case("host=/run/pg user=me sslmode=verify-full", Some(false))]
#[case("host=db.example user=me sslmode=require", None)]
#[case("host=db.example user=me sslmode=prefer", None)]
fn a_server_elsewhere_is_verified(#[case] dsn: &str, #[case] verified: Option<bool>) {
    let tls = Connection::of(Some(dsn), &Environment::new()).unwrap().tls();
    match verified {
        Some(verified) => assert_eq!(matches!(tls.unwrap(), Tls::VerifyFull { .. }), verified),
        None => assert!(tls.unwrap_err().to_string().contains("verify-full")),
    }
}

#[test]
fn a_variable_that_would_choose_another_server_is_refused() {
    for (name, value) in environment::NOT_SUPPORTED.map(|name| (name, "prod")) {
        let environment: Environment =
            [("PGUSER", "me"), (name, value)].map(|(name, value)| (name, value.to_owned())).into();
        let Err(failure) = Connection::of(None, &environment) else { panic!("{name} was passed over") };
        assert!(failure.to_string().contains(&format!("{name} is set")), "{failure}");
    }
}
