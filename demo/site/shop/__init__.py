"""A small shop: products with pictures, customers, orders and reviews."""
