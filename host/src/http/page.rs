//! The two parameters of every list.

use serde::Deserialize;
use utoipa::IntoParams;

pub use crate::domain::page::{Page, PageRequest};

/// `limit` and `cursor`. A list with filters repeats the two fields in its own
/// parameters and calls [`PageRequest::new`].
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(max_length = 1000)]
    pub cursor: Option<String>,
}

impl From<PageQuery> for PageRequest {
    fn from(PageQuery { limit, cursor }: PageQuery) -> Self {
        Self::new(limit, cursor)
    }
}
