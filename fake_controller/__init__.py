"""The controller: Cloud Foundry's API in front, desired state behind, orders to the other rooms.

`push` tells the flow of a push in one place. Clients talk CAPI v3, UAA and log-cache;
stagers fetch packages here and bring droplets; the health manager reads ``/bulk/apps``.

Where to find what:

- ``http/``: the API, a file per resource; `http.api` is what they share, `http.listing` how every
  list is filtered, sorted, paged and shown, `http.table` the table of all routes.
- ``model/``, `store`, `conditions`: what is kept, and how it is found;
  ``present/``: how it is shown.
- `access`, `policy`, `acting`: who sees and changes what; `policy` is one table.
- ``manifest/``, ``routing/``, ``services/``, ``broker/``: subjects that take more than a file.
- `workers`: what goes on in the background; `running` brings processes to what is desired,
  `deploying` replaces one by another (`rollout` decides how far), `tasks` runs commands once.
- `events` and `usage`: what happened, for those who ask later.
"""
