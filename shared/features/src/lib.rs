//! Nothing but features of dependencies, so that programs and tests share one build of them: see `Cargo.toml`.
