"""From a plan to finished blocks: the plan, the two tasks and the engine that runs them."""
