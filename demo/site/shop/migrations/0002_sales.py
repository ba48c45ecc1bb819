"""What only the database can do: numbering, an index on words, a view of sales, a materialized view of ratings."""

from django.db import migrations

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


class Migration(migrations.Migration):
    """Adds objects that Django's models do not describe."""

    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
