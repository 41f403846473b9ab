//! Tests of the whole product through its front doors, one file for each area.

mod db_engines;
