"""The ground all rooms stand on: settings, errors, plugins, clients and the supervised local stack."""
