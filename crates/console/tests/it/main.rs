//! The console, page by page.
