//! Names that end in `.localhost` are this computer (RFC 6761, section 6.3); the system resolves all others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The resolver of every connection the command line makes.
pub(crate) struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is replaced by that of the address asked for.
            let found: Vec<SocketAddr> = if is_local(name.as_str()) {
                let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
                loopback.into_iter().map(|address| SocketAddr::new(address, 0)).collect()
            } else {
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect()
            };
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether `name` is `localhost` or below it.
pub(crate) fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("localhost", true)]
    #[case("abc.execute-api.localhost", true)]
    #[case("ABC.LocalHost.", true)]
    #[case("notlocalhost", false)]
    #[case("localhost.example.org", false)]
    fn only_names_below_localhost_are_local(#[case] name: &str, #[case] local: bool) {
        assert_eq!(is_local(name), local);
    }

    #[tokio::test]
    async fn a_local_name_resolves_without_asking_anybody() {
        let found: Vec<_> =
            Names.resolve("abc.execute-api.localhost".parse().unwrap()).await.unwrap().collect();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()));
    }
}
