"""From files to pixels and lists: sources, images, checks, manifest, split, store, batches."""
