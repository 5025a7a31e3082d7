"""The prediction API: one service that holds every enabled model and follows the registry without a restart.

__main__  the process            service  the BentoML service        api      the routes
loader    versions, swapped      pool     predictions off the loop   access   ids, limits, log of requests
messages  the bodies             problems errors as RFC 9457         status   what is served, and why
client    the caller's side      metrics  Prometheus                 docs     the offline docs page
"""

BASE = "/api/v3/aiops"
