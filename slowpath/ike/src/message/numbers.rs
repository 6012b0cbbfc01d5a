//! The numbers of IKEv2 (IANA "Internet Key Exchange Version 2 Parameters") by name. Each is a plain
//! newtype, so that what we do not know is kept and can be named in a diagnosis.
use std::fmt;

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident($raw:ty) $($id:ident = $value:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $raw);
        impl $name {
            $(pub const $id: Self = Self($value);)*
            /// The IANA name; `None` for a number we do not know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($id)),)*
                    _ => None,
                }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

numbers! {
    /// RFC 7296 3.1.
    ExchangeType(u8)
    IKE_SA_INIT = 34,
    IKE_AUTH = 35,
    CREATE_CHILD_SA = 36,
    INFORMATIONAL = 37,
    IKE_SESSION_RESUME = 38,
    IKE_INTERMEDIATE = 43,
    IKE_FOLLOWUP_KE = 44,
}
numbers! {
    /// RFC 7296 3.2.
    PayloadType(u8)
    NONE = 0,
    SA = 33,
    KE = 34,
    IDI = 35,
    IDR = 36,
    CERT = 37,
    CERTREQ = 38,
    AUTH = 39,
    NONCE = 40,
    NOTIFY = 41,
    DELETE = 42,
    VENDOR_ID = 43,
    TSI = 44,
    TSR = 45,
    SK = 46,
    CP = 47,
    EAP = 48,
    SKF = 53,
}
impl PayloadType {
    //= rfc7296#3.2/v1-numbers: 1 to 32 stay unassigned so that IKEv1 payloads cannot be mistaken for ours.
    pub const fn is_ikev1(self) -> bool {
        matches!(self.0, 1..=32)
    }
}
numbers! {
    /// RFC 7296 3.3.1.
    Protocol(u8)
    NONE = 0,
    IKE = 1,
    AH = 2,
    ESP = 3,
}
numbers! {
    /// RFC 7296 3.3.2.
    TransformType(u8)
    ENCR = 1,
    PRF = 2,
    INTEG = 3,
    KE = 4,
    ESN = 5,
    ADDKE1 = 6,
    ADDKE2 = 7,
    ADDKE3 = 8,
    ADDKE4 = 9,
    ADDKE5 = 10,
    ADDKE6 = 11,
    ADDKE7 = 12,
}
impl TransformType {
    /// Of the additional key exchange number `round`, counted from 0 (RFC 9370).
    pub const fn additional(round: usize) -> Self {
        Self(Self::ADDKE1.0 + round as u8)
    }
    /// One of the above.
    pub const fn is_additional(self) -> bool {
        matches!(self.0, 6..=12)
    }
}
numbers! {
    /// RFC 7296 3.5.
    IdType(u8)
    ID_IPV4_ADDR = 1,
    ID_FQDN = 2,
    ID_RFC822_ADDR = 3,
    ID_IPV6_ADDR = 5,
    ID_DER_ASN1_DN = 9,
    ID_DER_ASN1_GN = 10,
    ID_KEY_ID = 11,
    ID_FC_NAME = 12,
    ID_NULL = 13,
}
numbers! {
    /// RFC 7296 3.8.
    AuthMethod(u8)
    RSA_SIGNATURE = 1,
    SHARED_KEY_MIC = 2,
    DSS_SIGNATURE = 3,
    ECDSA_SHA256_P256 = 9,
    ECDSA_SHA384_P384 = 10,
    ECDSA_SHA512_P521 = 11,
    NULL_AUTHENTICATION = 13,
    DIGITAL_SIGNATURE = 14,
}
numbers! {
    /// RFC 7296 3.10.1 and later registrations: errors below 16384, status from there on.
    NotifyType(u16)
    UNSUPPORTED_CRITICAL_PAYLOAD = 1,
    INVALID_IKE_SPI = 4,
    INVALID_MAJOR_VERSION = 5,
    INVALID_SYNTAX = 7,
    INVALID_MESSAGE_ID = 9,
    INVALID_SPI = 11,
    NO_PROPOSAL_CHOSEN = 14,
    INVALID_KE_PAYLOAD = 17,
    AUTHENTICATION_FAILED = 24,
    SINGLE_PAIR_REQUIRED = 34,
    NO_ADDITIONAL_SAS = 35,
    INTERNAL_ADDRESS_FAILURE = 36,
    FAILED_CP_REQUIRED = 37,
    TS_UNACCEPTABLE = 38,
    INVALID_SELECTORS = 39,
    UNACCEPTABLE_ADDRESSES = 40,
    UNEXPECTED_NAT_DETECTED = 41,
    USE_ASSIGNED_HOA = 42,
    TEMPORARY_FAILURE = 43,
    CHILD_SA_NOT_FOUND = 44,
    INVALID_GROUP_ID = 45,
    AUTHORIZATION_FAILED = 46,
    STATE_NOT_FOUND = 47,
    TS_MAX_QUEUE = 48,
    REGISTRATION_FAILED = 49,
    INITIAL_CONTACT = 16384,
    SET_WINDOW_SIZE = 16385,
    ADDITIONAL_TS_POSSIBLE = 16386,
    IPCOMP_SUPPORTED = 16387,
    NAT_DETECTION_SOURCE_IP = 16388,
    NAT_DETECTION_DESTINATION_IP = 16389,
    COOKIE = 16390,
    USE_TRANSPORT_MODE = 16391,
    HTTP_CERT_LOOKUP_SUPPORTED = 16392,
    REKEY_SA = 16393,
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394,
    NON_FIRST_FRAGMENTS_ALSO = 16395,
    MOBIKE_SUPPORTED = 16396,
    ADDITIONAL_IP4_ADDRESS = 16397,
    ADDITIONAL_IP6_ADDRESS = 16398,
    NO_ADDITIONAL_ADDRESSES = 16399,
    UPDATE_SA_ADDRESSES = 16400,
    COOKIE2 = 16401,
    NO_NATS_ALLOWED = 16402,
    AUTH_LIFETIME = 16403,
    MULTIPLE_AUTH_SUPPORTED = 16404,
    ANOTHER_AUTH_FOLLOWS = 16405,
    REDIRECT_SUPPORTED = 16406,
    REDIRECT = 16407,
    REDIRECTED_FROM = 16408,
    TICKET_LT_OPAQUE = 16409,
    TICKET_REQUEST = 16410,
    TICKET_ACK = 16411,
    TICKET_NACK = 16412,
    TICKET_OPAQUE = 16413,
    LINK_ID = 16414,
    USE_WESP_MODE = 16415,
    ROHC_SUPPORTED = 16416,
    EAP_ONLY_AUTHENTICATION = 16417,
    CHILDLESS_IKEV2_SUPPORTED = 16418,
    QUICK_CRASH_DETECTION = 16419,
    IKEV2_MESSAGE_ID_SYNC_SUPPORTED = 16420,
    IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED = 16421,
    IKEV2_MESSAGE_ID_SYNC = 16422,
    IPSEC_REPLAY_COUNTER_SYNC = 16423,
    SECURE_PASSWORD_METHODS = 16424,
    PSK_PERSIST = 16425,
    PSK_CONFIRM = 16426,
    ERX_SUPPORTED = 16427,
    IFOM_CAPABILITY = 16428,
    GROUP_SENDER = 16429,
    IKEV2_FRAGMENTATION_SUPPORTED = 16430,
    SIGNATURE_HASH_ALGORITHMS = 16431,
    CLONE_IKE_SA_SUPPORTED = 16432,
    CLONE_IKE_SA = 16433,
    PUZZLE = 16434,
    USE_PPK = 16435,
    PPK_IDENTITY = 16436,
    NO_PPK_AUTH = 16437,
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438,
    IP4_ALLOWED = 16439,
    IP6_ALLOWED = 16440,
    ADDITIONAL_KEY_EXCHANGE = 16441,
    USE_AGGFRAG = 16442,
    SUPPORTED_AUTH_METHODS = 16443,
    SA_RESOURCE_INFO = 16444,
    USE_PPK_INT = 16445,
    PPK_IDENTITY_KEY = 16446,
}
impl NotifyType {
    //= rfc7296#3.10.1/error-range: below 16384 a notify reports an error.
    pub const fn is_error(self) -> bool {
        self.0 < 16384
    }
}

impl From<sa::Protocol> for Protocol {
    fn from(protocol: sa::Protocol) -> Self {
        match protocol {
            sa::Protocol::Esp => Self::ESP,
            sa::Protocol::Ah => Self::AH,
        }
    }
}
