use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType,
    },
};
use holdfast_aws::dynamodb::DynamoRecords;
use holdfast_backup::ports::Records;
use holdfast_testing::builders;

use crate::emulator;

holdfast_testing::records_contract!(records());
holdfast_testing::restores_contract!(records());
holdfast_testing::catalog_records_contract!(records());

/// More applications than one batch of reads holds come in one page.
#[tokio::test]
async fn a_page_may_be_larger_than_a_batch() {
    let records = records().await;
    for number in 0..103 {
        let application = builders::application(&format!("many-{number:03}"));
        let backup = builders::queued(
            &application.id,
            "0195d9a2-0000-7000-8000-000000000000".parse().unwrap(),
            builders::now(),
        );
        let audit = builders::audit_entry("0195d9a2-0000-7000-8000-000000000001".parse().unwrap(), &backup);
        records.put_application(&application, None, &audit).await.unwrap();
    }
    let page = records.applications(None, 102).await.unwrap();
    assert_eq!(page.items.len(), 102);
    assert!(page.items.is_sorted_by(|a, b| a.value.id < b.value.id));
    assert_eq!(page.next, Some(builders::slug("many-101")));
    assert_eq!(records.due(builders::now() + chrono::TimeDelta::days(2), 100).await.unwrap().len(), 103);
}

async fn records() -> DynamoRecords {
    let client = Client::new(&emulator::sdk().await);
    let table = emulator::unique("records");
    let attribute = |name: &str| {
        let kind = ScalarAttributeType::S;
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    client
        .create_table()
        .table_name(&table)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(
            ["pk", "sk", "due_shard", "next_run_at", "open_shard", "open_since"].map(attribute).to_vec(),
        ))
        .set_key_schema(Some(key("pk", "sk")))
        .global_secondary_indexes(index("due", "due_shard", "next_run_at"))
        .global_secondary_indexes(index("open", "open_shard", "open_since"))
        .send()
        .await
        .unwrap();
    DynamoRecords::new(client, table)
}

fn key(partition: &str, order: &str) -> Vec<KeySchemaElement> {
    [(partition, KeyType::Hash), (order, KeyType::Range)]
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap())
        .to_vec()
}

fn index(name: &str, partition: &str, order: &str) -> GlobalSecondaryIndex {
    GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(key(partition, order)))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .unwrap()
}
