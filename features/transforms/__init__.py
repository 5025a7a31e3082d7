"""Pure frame-to-frame functions, one view a file; Spark, the stream and the benchmark run the same code."""
