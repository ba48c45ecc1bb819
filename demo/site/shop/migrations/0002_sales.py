"""What only the database can do: numbering, an index on words, a view of sales, ratings that are worked out once."""

from django.db import migrations

from shop import columns

FORWARD = """
CREATE SEQUENCE shop_order_number START 1000;

CREATE FUNCTION shop_assign_order_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.number = '' THEN
        NEW.number := 'B-' || nextval('shop_order_number');
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER order_number BEFORE INSERT ON shop_order
    FOR EACH ROW EXECUTE FUNCTION shop_assign_order_number();

CREATE INDEX product_words ON shop_product
    USING gin (to_tsvector('simple', name || ' ' || description));

CREATE VIEW shop_sales AS
    SELECT date_trunc('month', placed_at) AS month, product_id,
           sum(quantity) AS pieces, sum(quantity * unit_price) AS total
    FROM shop_orderline JOIN shop_order ON shop_order.id = order_id
    WHERE state IN ('paid', 'shipped')
    GROUP BY 1, 2;

CREATE MATERIALIZED VIEW shop_rating AS
    SELECT product_id, avg(stars) AS stars, count(*) AS reviews
    FROM shop_review GROUP BY product_id;
CREATE UNIQUE INDEX rating_product ON shop_rating (product_id);

COMMENT ON VIEW shop_sales IS 'Turnover by month – ohne Retouren';
"""

BACKWARD = """
DROP MATERIALIZED VIEW shop_rating;
DROP VIEW shop_sales;
DROP INDEX product_words;
DROP TRIGGER order_number ON shop_order;
DROP FUNCTION shop_assign_order_number();
DROP SEQUENCE shop_order_number;
"""

# Ratings are a table that a procedure fills, where there are no materialized views.
MARIADB_FORWARD = [
    "CREATE SEQUENCE shop_order_number START WITH 1000 NOCACHE",
    """
    CREATE TRIGGER order_number BEFORE INSERT ON shop_order FOR EACH ROW
    SET NEW.number = IF(NEW.number = '', CONCAT('B-', NEXTVAL(shop_order_number)), NEW.number)
    """,
    "CREATE FULLTEXT INDEX product_words ON shop_product (name, description)",
    """
    CREATE VIEW shop_sales AS
        SELECT DATE_FORMAT(placed_at, '%Y-%m-01') AS month, product_id,
               SUM(quantity) AS pieces, SUM(quantity * unit_price) AS total
        FROM shop_orderline JOIN shop_order ON shop_order.id = order_id
        WHERE state IN ('paid', 'shipped')
        GROUP BY 1, 2
    """,
    "CREATE TABLE shop_rating (product_id BIGINT PRIMARY KEY, stars DECIMAL(5, 4), reviews BIGINT) COMMENT 'ohne Retouren – ★'",
    """
    CREATE PROCEDURE shop_rate()
    REPLACE INTO shop_rating SELECT product_id, AVG(stars), COUNT(*) FROM shop_review GROUP BY product_id
    """,
    "CREATE EVENT shop_rate_nightly ON SCHEDULE EVERY 1 DAY DO CALL shop_rate()",
]

MARIADB_BACKWARD = [
    "DROP EVENT shop_rate_nightly",
    "DROP PROCEDURE shop_rate",
    "DROP TABLE shop_rating",
    "DROP VIEW shop_sales",
    "DROP INDEX product_words ON shop_product",
    "DROP TRIGGER order_number",
    "DROP SEQUENCE shop_order_number",
]


class Migration(migrations.Migration):
    """Adds objects that Django's models do not describe."""

    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.RunSQL(FORWARD, BACKWARD)
        if columns.IS_POSTGRES
        else migrations.RunSQL(MARIADB_FORWARD, MARIADB_BACKWARD)
    ]
