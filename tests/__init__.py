"""The tests, arranged by cost: core, store, flows, adapters, web, plugin_stub, contract, e2e."""
