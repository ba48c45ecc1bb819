//! Does nothing; build dependencies need a build script to belong to.

fn main() {}
