from tests.log.conftest import database_url, open_store, store

__all__ = ["database_url", "open_store", "store"]
