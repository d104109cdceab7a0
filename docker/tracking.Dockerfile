# MLflow's server with drivers for PostgreSQL and S3.
FROM python:3.12.12-slim-bookworm

RUN pip install --no-cache-dir "mlflow[auth]==3.17.2" "psycopg[binary]==3.3.9" "boto3==1.43.117" \
 && useradd --create-home --uid 10001 mlflow

USER 10001
WORKDIR /home/mlflow
EXPOSE 5000
CMD ["mlflow", "server"]
