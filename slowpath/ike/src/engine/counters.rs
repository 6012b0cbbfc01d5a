//! What the engine counts: every message that went no further has exactly one reason.

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($variant),* }
        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            pub const COUNT: usize = Self::ALL.len();
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $text),* } }
        }
    };
}
reasons! {
    /// Why an IKE message was not acted on.
    Refused {
        Malformed "malformed",
        MajorVersion "major-version",
        WrongDirection "wrong-direction",
        UnknownSa "unknown-ike-sa",
        UnknownPeer "unknown-peer",
        NotAuthentic "not-authentic",
        OutsideWindow "outside-window",
        Retransmit "retransmit",
        NotInThisState "not-in-this-state",
        CookieDemanded "cookie-demanded",
        CookieWrong "cookie-wrong",
        Redirected "redirected",
        InvalidKe "invalid-ke",
        UnauthenticatedError "unauthenticated-error",
        NoResources "no-resources",
    }
}
reasons! {
    /// Why a negotiation failed.
    Failure {
        NoProposalChosen "no-proposal-chosen",
        NoAnswer "no-answer",
        TooManyRounds "too-many-rounds",
        AuthenticationFailed "authentication-failed",
        IdMismatch "id-mismatch",
        TsUnacceptable "ts-unacceptable",
        ModeMismatch "mode-mismatch",
        ChildRefused "child-refused",
        PeerDead "peer-dead",
        NoPeer "no-peer",
        Version "other-version",
        Overload "overload",
        Lifetime "lifetime",
        NoSlots "no-slots",
        Local "local",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    pub ike_established: u64,
    pub child_established: u64,
    pub ike_rekeyed: u64,
    pub child_rekeyed: u64,
    pub retransmits_sent: u64,
    pub retransmits_answered: u64,
    pub refused: [u64; Refused::COUNT],
    pub failures: [u64; Failure::COUNT],
}
impl Default for Counters {
    fn default() -> Self {
        Self {
            ike_established: 0,
            child_established: 0,
            ike_rekeyed: 0,
            child_rekeyed: 0,
            retransmits_sent: 0,
            retransmits_answered: 0,
            refused: [0; Refused::COUNT],
            failures: [0; Failure::COUNT],
        }
    }
}
impl Counters {
    pub fn refused(&self, why: Refused) -> u64 {
        self.refused[why as usize]
    }
    pub fn failed(&self, why: Failure) -> u64 {
        self.failures[why as usize]
    }
    pub(crate) fn refuse(&mut self, why: Refused) {
        self.refused[why as usize] += 1;
    }
    pub(crate) fn fail(&mut self, why: Failure) {
        self.failures[why as usize] += 1;
    }
}
