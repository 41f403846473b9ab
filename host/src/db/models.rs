//! Rows of tenants' models: lifecycle stages and field definitions.

use super::{Json, Tx, args, statements};
use crate::clock::Timestamp;
use crate::domain::field::{FieldDefinition, Model, Stage};
use crate::domain::ids::TenantId;
use crate::error::Result;

statements! {
    FIND = "
        SELECT version, stages, fields
        FROM models
        WHERE tenant = $1";
    INSERT = "
        INSERT INTO models (tenant, version, stages, fields, updated_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (tenant) DO NOTHING";
    UPDATE = "
        UPDATE models
        SET version = $2, stages = $3, fields = $4, updated_at = $5
        WHERE tenant = $1
          AND version = $6";
}

#[derive(sqlx::FromRow)]
struct ModelRow {
    version: i64,
    stages: Json<Vec<Stage>>,
    fields: Json<Vec<FieldDefinition>>,
}

/// The tenant's model; the default one, if nobody has changed it.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId) -> Result<Model> {
    let row: Option<ModelRow> = tx.fetch_optional(FIND, args![tenant]).await?;
    Ok(row.map_or_else(Model::default, |row| Model {
        version: row.version,
        stages: row.stages.0,
        fields: row.fields.0,
    }))
}

/// Keeps a model in place of the one of `model.version - 1`; false if that is no longer the tenant's.
pub(crate) async fn replace(tx: &mut Tx, tenant: &TenantId, model: &Model, now: Timestamp) -> Result<bool> {
    let stages = serde_json::to_string(&model.stages).expect("stages are plain data");
    let fields = serde_json::to_string(&model.fields).expect("definitions are plain data");
    let mut args = args![tenant, model.version, stages, fields, now];
    if model.version == 1 {
        return tx.insert_if_absent(INSERT, args).await;
    }
    args.extend(args![model.version - 1]);
    Ok(tx.execute(UPDATE, args).await? > 0)
}
