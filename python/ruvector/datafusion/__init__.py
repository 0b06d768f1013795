from ruvector.datafusion.join import knn_join
