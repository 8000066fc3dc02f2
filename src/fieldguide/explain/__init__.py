"""Why a contestant answered as it did, for every family alike; every map carries its own check."""
