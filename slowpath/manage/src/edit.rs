//! Edits of single objects, as requests carry them, on a document.
use config::document::{Document, Fault, FaultKind, Id};
use config::schema::{Place, place};
use ipc::change::{Edit, Refused, Why};

/// Makes all of them; answers with the rows that were added or changed. After a fault the document may be half
/// changed: work on a copy.
pub fn make(document: &mut Document, edits: &[Edit]) -> Result<Vec<u32>, Refused> {
    let mut touched = Vec::new();
    for edit in edits {
        match edit {
            Edit::Add { menu, values, before } => {
                let values: Vec<_> =
                    values.iter().map(|(name, text)| (name.as_str(), text.0.as_str())).collect();
                let id = document.add(menu_of(menu)?, &values, before.map(Id)).map_err(refused)?;
                touched.push(id.0);
            }
            Edit::Set { menu, id, values } => {
                let values: Vec<_> = values
                    .iter()
                    .map(|(name, text)| (name.as_str(), text.as_ref().map(|text| text.0.as_str())))
                    .collect();
                document.set(menu_of(menu)?, Id(*id), &values).map_err(refused)?;
                touched.push(*id);
            }
            Edit::Remove { menu, id } => document.remove(menu_of(menu)?, Id(*id)).map_err(refused)?,
            Edit::Move { menu, ids, before } => {
                let rows: Vec<Id> = ids.iter().copied().map(Id).collect();
                document.move_before(menu_of(menu)?, &rows, before.map(Id)).map_err(refused)?;
                touched.extend(ids);
            }
            Edit::Reset { menu, id } => {
                document.reset(menu_of(menu)?, Id(*id)).map_err(refused)?;
                touched.push(*id);
            }
        }
    }
    Ok(touched)
}
fn menu_of(path: &str) -> Result<&'static Place, Refused> {
    let missing = || Refused::new(Why::Missing, format!("there is no menu `{path}`"));
    place(path).filter(|place| place.menu.shape.is_written()).ok_or_else(missing)
}
pub(crate) fn refused(fault: Fault) -> Refused {
    let why = match fault.kind {
        FaultKind::Missing => Why::Missing,
        FaultKind::Value => Why::Value,
        FaultKind::Conflict => Why::Conflict,
    };
    let Fault { path, property, said, fix, .. } = fault;
    Refused { path, property: property.map(Into::into), fix, ..Refused::new(why, said) }
}
