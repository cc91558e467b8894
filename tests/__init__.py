"""The tests; `tests/<room>/test_<file>.py` tests `kerasnb/<room>/<file>.py`."""
