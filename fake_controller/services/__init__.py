"""Service instances and bindings: the rules of Cloud Controller, and the work behind them."""
