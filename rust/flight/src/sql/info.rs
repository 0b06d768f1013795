//! What drivers want to know before they say anything else: what the server can do, which types it has.

use std::sync::LazyLock;

use arrow_array::RecordBatch;
use arrow_flight::{
    error::FlightError,
    sql::{
        CommandGetSqlInfo, Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity,
        SqlSupportedTransaction, SqlSupportedUnions, SqlTransactionIsolationLevel, SupportedSqlGrammar,
        XdbcDataType,
        metadata::{SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder},
    },
};
use arrow_schema::SchemaRef;
use tonic::Status;

/// The columns of what the server tells of itself.
pub(super) fn schema() -> SchemaRef {
    SchemaRef::new(SqlInfoDataBuilder::schema().clone())
}

/// What the server tells of itself.
pub(super) fn read(engine: (String, String), command: CommandGetSqlInfo) -> Result<RecordBatch, FlightError> {
    let mut told = SqlInfoDataBuilder::new();
    let (engine, version) = engine;
    told.append(SqlInfo::FlightSqlServerName, format!("ruvector ({engine} {version})").as_str());
    told.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    told.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    told.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::Transaction as i32);
    for (info, yes) in FLAGS {
        told.append(info, yes);
    }
    told.append(SqlInfo::FlightSqlServerStatementTimeout, 0);
    told.append(SqlInfo::FlightSqlServerTransactionTimeout, 0);
    let insensitive = SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32;
    told.append(SqlInfo::SqlIdentifierCase, insensitive);
    told.append(SqlInfo::SqlQuotedIdentifierCase, insensitive);
    told.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    told.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedAtEnd as i32);
    told.append(SqlInfo::SqlSearchStringEscape, "\\");
    told.append(SqlInfo::SqlExtraNameCharacters, "");
    for (info, words) in WORDS {
        told.append(info, words);
    }
    told.append(SqlInfo::SqlSchemaTerm, "schema");
    told.append(SqlInfo::SqlCatalogTerm, "catalog");
    told.append(SqlInfo::SqlProcedureTerm, "");
    let bits = |bits: &[i32]| bits.iter().fold(0, |mask, bit| mask | (1 << bit));
    told.append(SqlInfo::SqlSupportedGroupBy, bits(&[0, 1]));
    told.append(SqlInfo::SqlSupportedSubqueries, bits(&[0, 1, 2, 3]));
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    told.append(SqlInfo::SqlSupportedUnions, bits(&unions));
    told.append(SqlInfo::SqlOuterJoinsSupportLevel, bits(&[2]));
    let grammars =
        [SupportedSqlGrammar::SqlMinimumGrammar as i32, SupportedSqlGrammar::SqlCoreGrammar as i32];
    told.append(SqlInfo::SqlSupportedGrammar, bits(&grammars));
    told.append(SqlInfo::SqlAnsi92SupportedLevel, bits(&[0]));
    told.append(SqlInfo::SqlSchemasSupportedActions, 0);
    told.append(SqlInfo::SqlCatalogsSupportedActions, 0);
    told.append(SqlInfo::SqlSupportedPositionedCommands, 0);
    // What a transaction sees does not change.
    let isolation = SqlTransactionIsolationLevel::SqlTransactionRepeatableRead as i32;
    told.append(SqlInfo::SqlDefaultTransactionIsolation, isolation);
    told.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, bits(&[isolation]));
    told.append(SqlInfo::SqlSupportedResultSetTypes, bits(&[1]));
    told.append(SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, bits(&[1]));
    for info in NO_LIMIT {
        told.append(info, 0_i64);
    }
    command.into_builder(&told.build()?).build()
}

/// What is so, and what is not.
const FLAGS: [(SqlInfo, bool); 34] = [
    (SqlInfo::FlightSqlServerReadOnly, false),
    (SqlInfo::FlightSqlServerSql, true),
    (SqlInfo::FlightSqlServerSubstrait, false),
    (SqlInfo::FlightSqlServerCancel, true),
    (SqlInfo::FlightSqlServerBulkIngestion, true),
    (SqlInfo::FlightSqlServerIngestTransactionsSupported, true),
    (SqlInfo::SqlDdlCatalog, false),
    (SqlInfo::SqlDdlSchema, true),
    (SqlInfo::SqlDdlTable, true),
    (SqlInfo::SqlAllTablesAreSelectable, true),
    (SqlInfo::SqlSupportsColumnAliasing, true),
    (SqlInfo::SqlNullPlusNullIsNull, true),
    (SqlInfo::SqlSupportsTableCorrelationNames, true),
    (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
    (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
    (SqlInfo::SqlSupportsOrderByUnrelated, true),
    (SqlInfo::SqlSupportsLikeEscapeClause, true),
    (SqlInfo::SqlSupportsNonNullableColumns, true),
    (SqlInfo::SqlSupportsIntegrityEnhancementFacility, false),
    (SqlInfo::SqlCatalogAtStart, true),
    (SqlInfo::SqlSelectForUpdateSupported, false),
    (SqlInfo::SqlStoredProceduresSupported, false),
    (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
    (SqlInfo::SqlMaxRowSizeIncludesBlobs, true),
    (SqlInfo::SqlTransactionsSupported, true),
    (SqlInfo::SqlDataDefinitionCausesTransactionCommit, false),
    (SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false),
    (SqlInfo::SqlBatchUpdatesSupported, true),
    (SqlInfo::SqlSavepointsSupported, false),
    (SqlInfo::SqlNamedParametersSupported, true),
    (SqlInfo::SqlLocatorsUpdateCopy, false),
    (SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, false),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, false),
];

/// Words that tools colour. Those of SQL itself they know.
const WORDS: [(SqlInfo, &[&str]); 5] = [
    (SqlInfo::SqlKeywords, &["ANTI", "ASOF", "MACRO", "PIVOT", "POSITIONAL", "QUALIFY", "SAMPLE", "SEMI"]),
    (SqlInfo::SqlNumericFunctions, &["abs", "ceil", "exp", "floor", "ln", "log10", "power", "round", "sqrt"]),
    (SqlInfo::SqlStringFunctions, &["concat", "length", "lower", "replace", "substring", "trim", "upper"]),
    (SqlInfo::SqlSystemFunctions, &["coalesce", "ifnull"]),
    (SqlInfo::SqlDatetimeFunctions, &["current_date", "current_timestamp", "date_diff", "date_part", "now"]),
];

/// What has no limit, or none that is known.
const NO_LIMIT: [SqlInfo; 21] = [
    SqlInfo::SqlMaxBinaryLiteralLength,
    SqlInfo::SqlMaxCharLiteralLength,
    SqlInfo::SqlMaxColumnNameLength,
    SqlInfo::SqlMaxColumnsInGroupBy,
    SqlInfo::SqlMaxColumnsInIndex,
    SqlInfo::SqlMaxColumnsInOrderBy,
    SqlInfo::SqlMaxColumnsInSelect,
    SqlInfo::SqlMaxColumnsInTable,
    SqlInfo::SqlMaxConnections,
    SqlInfo::SqlMaxCursorNameLength,
    SqlInfo::SqlMaxIndexLength,
    SqlInfo::SqlDbSchemaNameLength,
    SqlInfo::SqlMaxProcedureNameLength,
    SqlInfo::SqlMaxCatalogNameLength,
    SqlInfo::SqlMaxRowSize,
    SqlInfo::SqlMaxStatementLength,
    SqlInfo::SqlMaxStatements,
    SqlInfo::SqlMaxTableNameLength,
    SqlInfo::SqlMaxTablesInSelect,
    SqlInfo::SqlMaxUsernameLength,
    SqlInfo::SqlSupportsConvert,
];

/// The types of columns, all of them or those of one number.
pub(super) fn types(data_type: Option<i32>) -> Result<RecordBatch, Status> {
    static TYPES: LazyLock<Result<XdbcTypeInfoData, FlightError>> = LazyLock::new(all_types);
    let internal = |error: &FlightError| Status::internal(error.to_string());
    TYPES.as_ref().map_err(internal)?.record_batch(data_type).map_err(|error| internal(&error))
}

fn all_types() -> Result<XdbcTypeInfoData, FlightError> {
    use XdbcDataType as Xdbc;
    let mut builder = XdbcTypeInfoDataBuilder::new();
    let numbers = [
        ("BOOLEAN", Xdbc::XdbcBit, 1, None),
        ("TINYINT", Xdbc::XdbcTinyint, 8, Some(false)),
        ("SMALLINT", Xdbc::XdbcSmallint, 16, Some(false)),
        ("INTEGER", Xdbc::XdbcInteger, 32, Some(false)),
        ("BIGINT", Xdbc::XdbcBigint, 64, Some(false)),
        ("UBIGINT", Xdbc::XdbcBigint, 64, Some(true)),
        ("FLOAT", Xdbc::XdbcReal, 24, Some(false)),
        ("DOUBLE", Xdbc::XdbcDouble, 53, Some(false)),
    ];
    for (name, data_type, bits, unsigned) in numbers {
        let told = typed(name, data_type);
        let radix = unsigned.map(|_| 2);
        builder.append(XdbcTypeInfo {
            column_size: Some(bits),
            unsigned_attribute: unsigned,
            num_prec_radix: radix,
            ..told
        });
    }
    builder.append(XdbcTypeInfo {
        column_size: Some(38),
        create_params: Some(vec!["precision".into(), "scale".into()]),
        fixed_prec_scale: true,
        minimum_scale: Some(0),
        maximum_scale: Some(38),
        num_prec_radix: Some(10),
        ..typed("DECIMAL", Xdbc::XdbcDecimal)
    });
    let quoted = [
        ("VARCHAR", Xdbc::XdbcVarchar),
        ("BLOB", Xdbc::XdbcVarbinary),
        ("DATE", Xdbc::XdbcDate),
        ("TIME", Xdbc::XdbcTime),
        ("TIMESTAMP", Xdbc::XdbcTimestamp),
    ];
    for (name, data_type) in quoted {
        let quote = Some("'".to_owned());
        let told = typed(name, data_type);
        builder.append(XdbcTypeInfo { literal_prefix: quote.clone(), literal_suffix: quote, ..told });
    }
    // A vector.
    let (begin, end) = (Some("[".to_owned()), Some("]".to_owned()));
    let told = typed("FLOAT[]", Xdbc::XdbcUnknownType);
    builder.append(XdbcTypeInfo { literal_prefix: begin, literal_suffix: end, ..told });
    builder.build()
}

fn typed(name: &str, data_type: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.into(),
        data_type,
        nullable: Nullable::NullabilityNullable,
        case_sensitive: data_type == XdbcDataType::XdbcVarchar,
        searchable: Searchable::Full,
        auto_increment: Some(false),
        local_type_name: Some(name.into()),
        sql_data_type: data_type,
        ..XdbcTypeInfo::default()
    }
}
