"""The platform's side of the Open Service Broker API, version 2.15.

What a broker says is decoded and judged by pure functions (`catalog`, `answers`); `client`
only asks. Names of errors and their sentences are Cloud Controller's.
"""
