//! Fuzz targets: plain functions over bytes that assert what must hold.
