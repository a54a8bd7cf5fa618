"""The tables of a project's database. `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Computed,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

LIVE_LABEL = "CASE WHEN deleted THEN NULL ELSE label_id END"

versions = Table("samadapt_schema", metadata, Column("version", Integer, primary_key=True))
"""The migrations that were applied."""

identities = Table("samadapt_database", metadata, Column("identity", Text, primary_key=True))
"""One row: the identity of this database, which never changes."""

projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("events", Integer, nullable=False, default=0),
    Column("labels_revision", Integer, nullable=False, default=0),
    sqlite_autoincrement=True,
)
"""`events` counts the project's events; updating it serialises all writers of a project."""

labels = Table(
    "object_labels",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("colour", Text, nullable=False),
    UniqueConstraint("project_id", "name"),
)
"""The present list of labels, in the order of `place`."""

details = Table(
    "details",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
"""JSON of details: attributes of a "label" (their definitions) and of an "object" (their values),
tags of an "image", the track of a "tracked" object, parent and end of a "track", and whether
folders of "frames" (number 0) are stacks. There are no rows for empty details."""

images = Table(
    "images",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("present", Boolean, nullable=False, default=True),
    Column("mark", Text, nullable=False, default=""),
    Column("revision", Integer, nullable=False, default=0),
    Column("problem", Text),
    Column("height", Integer),
    Column("width", Integer),
    Column("content_hash", Text),
    Column("file_size", Integer),
    Column("modified", Text),
    Column("annotated_hash", Text),
    UniqueConstraint("project_id", "name"),
    Index("images_content", "project_id", "content_hash"),
    sqlite_autoincrement=True,
)
"""`name` is relative to the folder; `annotated_hash` is that of the pixels under the objects."""

objects = Table(
    "objects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("image_id", ForeignKey("images.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("label_id", Integer),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("counts", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("time", Float, nullable=False),
    Column("prompts", Integer),
    Column("frozen_prompts", Integer),
    Column("adapted", Boolean, nullable=False, default=False),
    Column("live_label", Integer, Computed(LIVE_LABEL, persisted=True)),
    UniqueConstraint("project_id", "key"),
    ForeignKeyConstraint(
        ["project_id", "live_label"],
        ["object_labels.project_id", "object_labels.id"],
        name="live_objects_have_live_labels",
        deferrable=True,
        initially="DEFERRED",
    ),
    Index("objects_of_image", "image_id"),
    sqlite_autoincrement=True,
)
"""The objects, computed from the events about them; `rebuild` computes them again.

The label of an object that is not deleted is always in the list: `live_label` refers to it.
"""

events = Table(
    "events",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time", Float, nullable=False),
    Column("person", Text, nullable=False),
    Column("image_id", Integer),
    Column("stream", Text),
    Column("sequence", Integer),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("project_id", "stream", "sequence"),
    Index("events_of_image", "project_id", "image_id", "number"),
)
"""The log: appended to, never changed. Events of a session have a stream and a sequence in it."""

claims = Table(
    "claims",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("client", Text, primary_key=True),
    Column("image_id", Integer, nullable=False),
    Column("person", Text, nullable=False),
    Column("seen", Float, nullable=False),
)
"""Claims of people on images; a claim that was not renewed for a while is void."""

proposals = Table(
    "proposals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id"), nullable=False),
    Column("image_id", ForeignKey("images.id"), nullable=False),
    Column("source", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("counts", Text, nullable=False),
    Column("score", Float, nullable=False),
    Column("x", Float, nullable=False),
    Column("y", Float, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("content_hash", Text),
    Index("proposals_of_state", "project_id", "state", "image_id"),
    sqlite_autoincrement=True,
)
"""Objects that were found without a person; no part of the log.

`state` is "waiting" for review, "accepted" (an object now), "rejected" (similar ones are not added
again) or "withdrawn" (its track ended in an earlier slice). Undo makes a proposal wait again.
`content_hash` is that of the pixels it was found on: while the image has others, the proposal
counts as absent; NULL fits all.
"""

reviews = Table(
    "reviews",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("image_id", ForeignKey("images.id"), primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("assignee", Text, nullable=False),
    Column("revision", Integer, nullable=False),
)
"""State of the review of an image, and its assignee. There are no rows for empty reviews."""

comments = Table(
    "comments",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("image_id", ForeignKey("images.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("x", Float, nullable=False),
    Column("y", Float, nullable=False),
    Column("person", Text, nullable=False),
    Column("time", Float, nullable=False),
    Column("resolved", Boolean, nullable=False),
    Index("comments_of_image", "project_id", "image_id"),
)
"""Comments that are pinned to places (x, y) of images; numbered in each project from 1."""


learning = Table(
    "learning",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("model", Text, nullable=False),
    Column("weights", Text, nullable=False),
    Column("adapters", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("resets", Integer, nullable=False, default=0),
    Column("resets_done", Integer, nullable=False, default=0),
)
"""The model (its name, and the hash of its weights) and the adapters (JSON) of all servers of a
project. `revision` counts the choices of adapters, `resets` the requests to reset them, and
`resets_done` the finished ones."""

codes = Table(
    "codes",
    metadata,
    Column("project_id", ForeignKey("projects.id"), primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("made", Float, nullable=False),
)
"""Unused login codes, hashed; they are valid at any server of the project."""
