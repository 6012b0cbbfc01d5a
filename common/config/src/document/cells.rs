//! What is written in one row, and what was found of it: whoever changes one row of ten thousand does not pay for the
//! others again.
use crate::schema::Field;
use crate::walk;
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

type List = Vec<(&'static Field, Zeroizing<String>)>;

#[derive(Default)]
pub struct Cells {
    list: List,
    /// The values, of a row about which nothing was complained. Gone with the first change.
    read: OnceLock<Arc<walk::Read>>,
    /// As it stands in a file.
    text: OnceLock<Text>,
    /// Lines behind `#` in front of it, without that. They mean nothing, and stay with it.
    pub remark: Option<Box<str>>,
}
pub struct Text {
    pub lines: Zeroizing<String>,
    /// Where secrets stand in them.
    pub marks: Vec<Range<usize>>,
    pub depth: usize,
}
impl Cells {
    pub fn of(list: List) -> Self {
        Self { list, read: OnceLock::new(), text: OnceLock::new(), remark: None }
    }
    pub(super) fn change(&mut self) -> &mut List {
        (self.read, self.text) = (OnceLock::new(), OnceLock::new());
        &mut self.list
    }
    pub fn known(&self) -> Option<&Arc<walk::Read>> {
        self.read.get()
    }
    pub fn text(&self, make: impl FnOnce() -> Text) -> &Text {
        self.text.get_or_init(make)
    }
    /// To be had again.
    pub fn keep(&self, read: &Arc<walk::Read>) {
        self.read.get_or_init(|| Arc::clone(read));
    }
}
impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(field, _)| field.name)).finish()
    }
}
impl Clone for Cells {
    /// Whoever copies them is about to change them.
    fn clone(&self) -> Self {
        Self { remark: self.remark.clone(), ..Self::of(self.list.clone()) }
    }
}
impl Deref for Cells {
    type Target = [(&'static Field, Zeroizing<String>)];
    fn deref(&self) -> &Self::Target {
        &self.list
    }
}
