"""Ask the model: who decided, and with what score. Only adds, so that the release before it can run on meanwhile."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("transactions", sa.Column("score", sa.Float))
    op.add_column("transactions", sa.Column("model_version", sa.String))
    op.add_column("transactions", sa.Column("prediction_id", sa.String))
    op.add_column("transactions", sa.Column("change", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("transactions_by_change", "transactions", ["change"])


def downgrade() -> None:
    op.drop_index("transactions_by_change", "transactions")
    for column in ("change", "prediction_id", "model_version", "score"):
        op.drop_column("transactions", column)
