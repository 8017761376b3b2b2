"""The search for better settings: many trainings of one recipe, judged by validation photos alone."""
