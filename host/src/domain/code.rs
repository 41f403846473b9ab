//! Stable codes: every one that a person or a client can be shown, with the values that its text names.
//!
//! A code is the address of its texts: `FaultCode::TooLong` is the message `fault-too-long` of
//! both languages. A new code is a line here and a line in each file of `locales/`; the test
//! of `http/problem.rs` says what is missing.

/// What a text names, and its value.
pub type Params = Vec<(&'static str, String)>;

/// A code with its family of texts.
pub trait Code {
    /// The beginning of the keys of its texts.
    const FAMILY: &'static str;

    /// The code in `snake_case`.
    fn as_str(&self) -> &'static str;

    /// The values that its text names.
    fn params(&self) -> Params;
}

/// Declares the codes of one family of texts: an enum with a table of all.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident in $family:literal {
        $($(#[$note:meta])* $variant:ident $({ $($param:ident),+ })? = $code:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $(
                #[doc = concat!("`", $code, "`.")]
                $(#[$note])*
                $variant $({ $(#[doc = "Named by the text."] $param: String),+ })?,
            )+
        }

        impl $name {
            /// Every code with the values that its text names.
            pub const TABLE: &'static [(&'static str, &'static [&'static str])] =
                &[$(($code, &[$($(stringify!($param)),+)?])),+];

            /// The code in `snake_case`.
            #[must_use]
            pub const fn as_str(&self) -> &'static str {
                match self {
                    $(Self::$variant $({ $($param: _),+ })? => $code,)+
                }
            }
        }

        impl $crate::domain::code::Code for $name {
            const FAMILY: &'static str = $family;

            fn as_str(&self) -> &'static str {
                Self::as_str(self)
            }

            fn params(&self) -> $crate::domain::code::Params {
                match self {
                    $(Self::$variant $({ $($param),+ })? =>
                        vec![$($((stringify!($param), $param.clone())),+)?],)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use codes;

codes! {
    /// What can be wrong with an input, whichever layer finds it.
    FaultCode in "fault" {
        Required = "required",
        UnknownField = "unknown_field",
        UnknownParameter = "unknown_parameter",
        UnexpectedBody = "unexpected_body",
        Repeated = "repeated",
        WrongType { expected } = "wrong_type",
        TooLong { max } = "too_long",
        TooManyBytes { max } = "too_many_bytes",
        TooShort { min } = "too_short",
        TooLarge { max } = "too_large",
        TooSmall { min } = "too_small",
        TooMany { max } = "too_many",
        TooFew { min } = "too_few",
        TooDeep { max } = "too_deep",
        NotUnique = "not_unique",
        NotAllowed { options } = "not_allowed",
        NotAChoice = "not_a_choice",
        WrongFormat { format } = "wrong_format",
        WrongMultiple { step } = "wrong_multiple",
        DuplicateKey = "duplicate_key",
        BadJson { reason } = "bad_json",
        BadUtf8 = "bad_utf8",
        BadCharacter = "bad_character",
        NulCharacter = "nul_character",
        BadCursor = "bad_cursor",
        ReadOnly = "read_only",
        Reserved = "reserved",
        NotHere = "not_here",
        UnknownReference = "unknown_reference",
        UnknownOrgUnit { id } = "unknown_org_unit",
        InThePast = "in_the_past",
        EndsBeforeStart = "ends_before_start",
        TooFar { max } = "too_far",
        CommonPassword = "common_password",
        WrongPassword = "wrong_password",
        BadTimeZone = "bad_time_zone",
        CurrencyMismatch { currency } = "currency_mismatch",
        TotalMismatch { sum } = "total_mismatch",
        BelowRefunded { refunded } = "below_refunded",
        OneSource = "one_source",
        Ambiguous = "ambiguous",
        BadColumn = "bad_column",
        Utf16 = "utf16",
        Empty = "empty",
        UrlScheme = "url_scheme",
        UrlUser = "url_user",
        UrlHost = "url_host",
        UrlPort = "url_port",
        UrlFragment = "url_fragment",
        UrlSpelling = "url_spelling",
        /// What a hook has made of a record is none.
        Hook { reason } = "hook",
        NotAskedFor { grant } = "not_asked_for",
        NoSuchParameter = "no_such_parameter",
        UnknownName { name } = "unknown_name",
        Precompiled = "precompiled",
        CoreModule = "core_module",
        NotAComponent = "not_a_component",
        NotValid { reason } = "not_valid",
        Malformed { reason } = "malformed",
        UnknownImport { import } = "unknown_import",
        Memory { pages, max } = "memory",
        TooManyParts { part, count, max } = "too_many_parts",
        NoManifest = "no_manifest",
        SeveralManifests { count } = "several_manifests",
        ManifestNotText = "manifest_not_text",
        NotToml { reason } = "not_toml",
        NotASchema { reason } = "not_a_schema",
        Cron { reason } = "cron",
        OtherNames { path } = "other_names",
        NoBody { method } = "no_body",
        Idle { point } = "idle",
        NotForInterpreters = "not_for_interpreters",
        MissingGrant { grant } = "missing_grant",
        IdleGrant { grant } = "idle_grant",
        MissingExport { export } = "missing_export",
        IdleExport { export } = "idle_export",
        BadSignature = "bad_signature",
        NotLinkable { reason } = "not_linkable",
        NotCompilable { reason } = "not_compilable",
        NotReplayable { reason } = "not_replayable",
    }
}

codes! {
    /// Why a use case or a request is refused or has failed.
    Reason in "detail" {
        Invalid { count } = "invalid",
        NotFound { kind, id } = "not_found",
        VersionMismatch { kind, id, version } = "version_mismatch",
        Unauthenticated = "unauthenticated",
        Forbidden { permission } = "forbidden",
        PluginRejected { plugin, message } = "plugin_rejected",
        PluginFailed { plugin, message } = "plugin_failed",
        Unavailable = "unavailable",
        Internal = "internal",

        AlreadyExists = "already_exists",
        ExternalIdTaken = "external_id_taken",
        IdentityTaken = "identity_taken",
        SkuTaken = "sku_taken",
        FieldExists = "field_exists",
        FieldType = "field_type",
        VersionExists = "version_exists",
        OlderVersion { version } = "older_version",
        OtherPublisher { publisher } = "other_publisher",
        Unsigned { policy } = "unsigned",
        UnknownKey { key } = "unknown_key",
        WrongPublisher { key, publisher } = "wrong_publisher",
        RevokedKey { key } = "revoked_key",
        VersionStopped { version, reason } = "version_stopped",
        UpgradeFrozen { until, reason } = "upgrade_frozen",
        NotRunning = "not_running",
        MoveRunning = "move_running",
        NothingBefore = "nothing_before",
        DataMoved = "data_moved",
        CanaryRunning = "canary_running",
        CanaryEnded = "canary_ended",
        CanaryOlder { version } = "canary_older",
        CanaryWider { wider } = "canary_wider",
        /// Both versions of a canary share the plugin's data.
        CanaryData { reason } = "canary_data",
        /// An uninstalled plugin's time is over, and what it keeps is being deleted.
        PluginPurging = "plugin_purging",
        OrderCustomer = "order_customer",
        OrderStatus = "order_status",
        OrderClosed = "order_closed",
        OrderCancelled = "order_cancelled",
        RefundExceedsTotal { left } = "refund_exceeds_total",
        UnitCycle = "unit_cycle",
        UnitNotEmpty { units, users, customers } = "unit_not_empty",
        LastOwner = "last_owner",
        IdempotencyKeyReused = "idempotency_key_reused",
        ImportNotReceiving = "import_not_receiving",
        ImportOffset = "import_offset",
        ImportUploadOvertaken = "import_upload_overtaken",
        ImportEnded = "import_ended",
        LeaseLost = "lease_lost",
        StepKeyReused = "step_key_reused",
        /// Another call has run the step to its end; its outcome is the answer.
        StepHasEnded = "step_has_ended",
        TooSlow { seconds } = "too_slow",
        /// A record that a plugin has read is not as it was; the invocation runs again.
        StaleRead = "stale_read",

        CauseDepth { max } = "cause_depth",
        /// What a plugin's files of a tenant may add up to.
        PluginFiles { files, bytes } = "plugin_files",
        ReadMany { max } = "read_many",
        UpsertMany { max } = "upsert_many",
        SetFields { max } = "set_fields",
        Fields { max } = "fields",
        Refunds { max } = "refunds",
        Tokens { max } = "tokens",
        Credentials { max } = "credentials",
        Webhooks { max } = "webhooks",
        WebhookSecrets { max } = "webhook_secrets",
        WebhookLater { seconds } = "webhook_later",
        WebhookBusy = "webhook_busy",
        UnitDepth { max } = "unit_depth",
        ImportsReceiving { max } = "imports_receiving",
        ImportTooLarge = "import_too_large",
        TooManyLogins = "too_many_logins",
        TooManyStreams { max } = "too_many_streams",

        SelfDisable = "self_disable",
        NotAUser = "not_a_user",
        WiderThanOwn = "wider_than_own",
        OutOfReach = "out_of_reach",
        Role { roles } = "role",
        TenantSuspended = "tenant_suspended",
        /// A trial's transaction is taken back; nobody sees it.
        TriedOut = "tried_out",
        SecretsKeyMissing = "secrets_key_missing",
        WebhookFailed { reason } = "webhook_failed",

        /// The key of a customer whom it is about is gone.
        RecordingErased = "recording_erased",

        CursorExpired = "cursor_expired",
        CursorUnknown = "cursor_unknown",

        UnknownAddress = "unknown_address",
        MethodNotAllowed = "method_not_allowed",
        MalformedRequest = "malformed_request",
        BadHeader { header } = "bad_header",
        BadIfMatch = "bad_if_match",
        BadQuery { count } = "bad_query",
        IdempotencyUnsupported = "idempotency_unsupported",
        VersionRequired = "version_required",
        BodyTooLarge { max } = "body_too_large",
        UnsupportedMediaType { wanted } = "unsupported_media_type",
        UploadBroken = "upload_broken",
        BadCredentials = "bad_credentials",
        CrossSite = "cross_site",
        TooManyRequests { limit, seconds } = "too_many_requests",
        Timeout = "timeout",
    }
}

codes! {
    /// How a plugin has failed.
    FailureCode in "failure" {
        Deadline { ms } = "deadline",
        Fuel { units } = "fuel",
        MemoryGrowth { what } = "memory",
        Stack = "stack",
        Trap { reason } = "trap",
        Misuse { reason } = "misuse",
        Transfer { mib } = "transfer",
        Paused = "paused",
        Unavailable { reason } = "unavailable",
        Chunks { max } = "chunks",
        Patch { reason } = "patch",
        Outcome { reason } = "outcome",
        Panel { reason } = "panel",
        Denied { field, class } = "denied",
        Scores { reason } = "scores",
        Response { reason } = "response",
        /// A plugin that it has called broke off, and took it along.
        Callee { plugin, reason } = "callee",
    }
}

codes! {
    /// What can be wrong with the text of a row of a file. What is wrong with the record that was
    /// made of it is a [`FaultCode`] or a [`Reason`].
    RowCode in "row" {
        NotAnAmount { example } = "not_an_amount",
        TooManyDecimals { max } = "too_many_decimals",
        /// `max` is in whole units of the file, and its negative is the smallest amount.
        AmountOutOfRange { max } = "amount_out_of_range",
        NotATime { example } = "not_a_time",
        NotAWholeNumber = "not_a_whole_number",
        NumberOutOfRange { min, max } = "number_out_of_range",
        Required = "required",
        TooLong { max } = "too_long",
        NotAllowed { options } = "not_allowed",
        UnknownCurrency = "unknown_currency",
        BadCharacter = "bad_character",
        BadEncoding { encoding } = "bad_encoding",
        /// The reason is a [`JsonCode`].
        BadJson { reason } = "bad_json",
        NotOneValue = "not_one_value",
        ColumnCount { found, wanted } = "column_count",
        UnclosedQuote = "unclosed_quote",
        TextAfterQuote = "text_after_quote",
        RecordTooLong { max } = "record_too_long",
        TooManyColumns { max } = "too_many_columns",
        MissingColumn { name } = "missing_column",
        DuplicateColumn { name } = "duplicate_column",
        FurtherFaults { count } = "further_faults",
        Busy = "busy",
        Differs { line } = "differs",
        NotAdjacent { id, line } = "not_adjacent",
        TooManyLines { max } = "too_many_lines",
        OrderRefused { line } = "order_refused",
    }
}

codes! {
    /// Why a line of a file is no JSON object.
    JsonCode in "json" {
        Incomplete = "incomplete",
        Syntax = "syntax",
        NotAnObject = "not_an_object",
        Repeated { name } = "repeated",
        TooManyMembers { max } = "too_many_members",
    }
}

codes! {
    /// Why an import gave up.
    ImportCode in "import" {
        Columns = "columns",
        Empty = "empty",
        Header = "header",
        TooManyFailedRows { most } = "too_many_failed_rows",
        RightsLost = "rights_lost",
        Refused { reason } = "refused",
        Internal = "internal",
    }
}

impl ImportCode {
    /// The code that was kept with its English text, which is all that is left of a refusal.
    #[must_use]
    pub fn from_stored(code: &str, message: String) -> Self {
        match code {
            "columns" => Self::Columns,
            "empty" => Self::Empty,
            "header" => Self::Header,
            "too_many_failed_rows" => Self::too_many_failed_rows(),
            "rights_lost" => Self::RightsLost,
            "internal" => Self::Internal,
            _ => Self::Refused { reason: message },
        }
    }

    /// More rows have failed than an import goes on after.
    #[must_use]
    pub fn too_many_failed_rows() -> Self {
        Self::TooManyFailedRows { most: super::import::FAILED_ROWS_MAX.to_string() }
    }
}

codes! {
    /// A kind of record, as texts call it.
    RecordKind in "kind" {
        Record = "record",
        Tenant = "tenant",
        OrgUnit = "org_unit",
        User = "user",
        Session = "session",
        Token = "token",
        Customer = "customer",
        Product = "product",
        Order = "order",
        Field = "field",
        Model = "model",
        Plugin = "plugin",
        Enablement = "enablement",
        Collection = "collection",
        Credential = "credential",
        Action = "action",
        Job = "job",
        Import = "import",
        Route = "route",
        Scoring = "scoring",
        Step = "step",
        Function = "function",
        DeadLetter = "dead_letter",
        Event = "event",
        Webhook = "webhook",
        PublisherKey = "publisher_key",
        Recording = "recording",
        Shadow = "shadow",
        Canary = "canary",
        Move = "move",
    }
}

codes! {
    /// A type of a value, as texts call it.
    TypeName in "type" {
        Text = "string",
        Integer = "integer",
        Number = "number",
        Boolean = "boolean",
        Time = "time",
        Object = "object",
        Array = "array",
        Null = "null",
    }
}

impl RecordKind {
    /// The kind in English words.
    #[must_use]
    pub fn words(&self) -> String {
        self.as_str().replace('_', " ")
    }
}

impl FaultCode {
    /// A value of another type than these.
    #[must_use]
    pub fn wrong_type(expected: &[TypeName]) -> Self {
        let names: Vec<_> = expected.iter().map(TypeName::as_str).collect();
        Self::WrongType { expected: names.join("|") }
    }

    /// A value that is none of these.
    pub fn not_allowed(options: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut list = String::new();
        for option in options {
            if !list.is_empty() {
                list.push_str(", ");
            }
            list.push_str(option.as_ref());
        }
        Self::NotAllowed { options: list }
    }

    /// A text of more than so many characters.
    #[must_use]
    pub fn too_long(max: impl ToString) -> Self {
        Self::TooLong { max: max.to_string() }
    }

    /// A list of more than so many entries.
    #[must_use]
    pub fn too_many(max: impl ToString) -> Self {
        Self::TooMany { max: max.to_string() }
    }

    /// A text or document of more than so many bytes.
    #[must_use]
    pub fn too_many_bytes(max: impl ToString) -> Self {
        Self::TooManyBytes { max: max.to_string() }
    }

    /// A text of another form.
    #[must_use]
    pub fn wrong_format(format: impl Into<String>) -> Self {
        Self::WrongFormat { format: format.into() }
    }

    /// What a number outside of `low` to `high` is.
    #[must_use]
    pub fn outside(value: i64, low: i64, high: i64) -> Self {
        if value < low {
            Self::TooSmall { min: low.to_string() }
        } else {
            Self::TooLarge { max: high.to_string() }
        }
    }
}
