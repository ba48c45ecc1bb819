//! Databases in memory that can be dumped: small dumps that say which contents they are of.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_backup::{
    engines::{
        Engine, EngineReport, Engines,
        segments::{SegmentSender, SegmentWriter},
    },
    error::SliceError,
    ports::Clock,
};
use holdfast_domain::{application::Service, backup::Contents, id::ApplicationId};

use crate::{fakes::FakeRestorers, faults::Faults};

/// Reads what the restorers' databases hold. Each step can go wrong: `engine.open`, `engine.prepare` and `engine.read`.
pub struct Databases {
    /// What the databases hold.
    pub held: FakeRestorers,
    /// What goes wrong.
    pub faults: Faults,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

struct Dump {
    service: Service,
    held: FakeRestorers,
    faults: Faults,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Engines for Databases {
    async fn open(&self, _: &ApplicationId, service: &Service) -> Result<Box<dyn Engine>, SliceError> {
        let dump = Dump {
            service: service.clone(),
            held: self.held.beside(&self.faults),
            faults: self.faults.clone(),
            clock: self.clock.clone(),
        };
        self.faults.around("engine.open", async { Ok(Box::new(dump) as Box<dyn Engine>) }).await
    }
}

#[async_trait]
impl Engine for Dump {
    fn content_type(&self) -> &'static str {
        "application/zstd"
    }

    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        self.faults.around("engine.prepare", async { Ok(Some(64)) }).await
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let taken_at = self.clock.now();
        let effect = async {
            let mut held = self.held.holds(&self.service);
            Ok::<_, SliceError>(held.remove("").unwrap_or_default())
        };
        let held = self.faults.around("engine.read", effect).await?;
        let mut writer = SegmentWriter::new(out);
        writer.write_bytes(dump(&held)).await?;
        writer.finish().await?;
        Ok(EngineReport { contents: contents(&self.service), taken_at })
    }
}

fn contents(service: &Service) -> Contents {
    let database = match service {
        Service::Mysql(database) => database.database.clone(),
        other => panic!("{} is read by another engine", other.name()),
    };
    Contents::MysqlSql {
        database,
        server_version: "10.11.19-MariaDB".to_owned(),
        dump_version: "in memory".to_owned(),
        outside_snapshot: Vec::new(),
        outside_snapshot_count: 0,
        tables: None,
        rows: None,
    }
}

/// SQL of a database that holds `held`, in a zstd frame with one raw block:
/// <https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1>.
pub(super) fn dump(held: &str) -> Bytes {
    let sql = format!("-- holds {held}\n-- Dump completed on 2026-04-01\n");
    let size = u32::try_from(sql.len()).unwrap();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
    // Descriptor: the size is in four bytes, one segment, no checksum.
    frame.push(0b1010_0000);
    frame.extend_from_slice(&size.to_le_bytes());
    // The last block, and a raw one.
    frame.extend_from_slice(&((size << 3) | 1).to_le_bytes()[..3]);
    frame.extend_from_slice(sql.as_bytes());
    frame.into()
}
