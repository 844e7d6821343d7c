//! The Score of a rewrite: value precision, consistency both ways, guards, and their combination
