"""The controller: Cloud Foundry's API in front, desired state behind, orders to the other rooms.

`push` tells the flow of a push in one place. Clients talk CAPI v3, UAA and log-cache;
stagers fetch packages here and bring droplets; the health manager reads ``/bulk/apps``.
"""
