//! The algorithms of one IKE SA.
use crate::api::{DhGroup, IkeCipher, IkeIntegrity, Prf};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IkeSuite {
    pub encryption: IkeCipher,
    /// `None` exactly when the cipher is an AEAD.
    pub integrity: Option<IkeIntegrity>,
    pub prf: Prf,
    pub group: DhGroup,
    pub additional: Additional,
}
/// Of each further key exchange (RFC 9370) the method; `None`: it is not made.
pub type Additional = [Option<DhGroup>; 7];
impl std::fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.encryption.name())?;
        if let Some(integrity) = self.integrity {
            write!(f, "/{}", integrity.name())?;
        }
        write!(f, "/prf-{}/{}", self.prf.name(), self.group.name())?;
        self.additional.iter().flatten().try_for_each(|method| write!(f, "+{}", method.name()))
    }
}
