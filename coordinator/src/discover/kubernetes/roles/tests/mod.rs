mod cases;
mod cluster;
mod dependents;
mod documented;
mod single;
