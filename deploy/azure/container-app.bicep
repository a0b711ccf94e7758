// A Container App with the gateway as a sidecar: deploy/README.md, "Azure Container Apps".
// The containers of a replica share their loopback, so the application calls http://127.0.0.1:4280.

@description('Region of the resources.')
param location string = resourceGroup().location

@description('Name of the Container App.')
param name string = 'crm-sync'

@description('Image of the application. It calls the URL in its variable REFERRALS_BASE_URL.')
param applicationImage string

@description('Image of the gateway, for linux/amd64.')
param gatewayImage string

@description('Registry of both images, such as example.azurecr.io.')
param registry string

@description('Resource id of a managed identity that may pull from the registry.')
param identity string

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: '${name}-logs'
  location: location
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: 30
  }
}

resource environment 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: '${name}-environment'
  location: location
  properties: {
    // Table ContainerAppConsoleLogs_CL; Log_s holds the line as the gateway wrote it, in JSON.
    appLogsConfiguration: {
      destination: 'log-analytics'
      logAnalyticsConfiguration: {
        customerId: logs.properties.customerId
        sharedKey: logs.listKeys().primarySharedKey
      }
    }
  }
}

resource app 'Microsoft.App/containerApps@2025-01-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity}': {}
    }
  }
  properties: {
    managedEnvironmentId: environment.id
    configuration: {
      activeRevisionsMode: 'Single'
      // No ingress: the application calls out, and nobody outside of the replica reaches the gateway.
      registries: [
        {
          server: registry
          identity: identity
        }
      ]
    }
    template: {
      // All containers get SIGTERM at the same time. More than drain.max.
      terminationGracePeriodSeconds: 40
      containers: [
        {
          name: name
          image: applicationImage
          // The sum over all containers must be one of the pairs that Container Apps has: here 0.5 and 1Gi.
          resources: {
            cpu: json('0.25')
            memory: '0.5Gi'
          }
          env: [
            {
              name: 'REFERRALS_BASE_URL'
              value: 'http://127.0.0.1:4280'
            }
          ]
        }
        {
          name: 'referral-gateway'
          image: gatewayImage
          resources: {
            cpu: json('0.25')
            memory: '0.5Gi'
          }
          env: [
            {
              name: 'REFERRAL_GATEWAY_TELEMETRY__LISTEN'
              value: '0.0.0.0:4281'
            }
            {
              name: 'REFERRAL_GATEWAY_UPSTREAM__URL'
              value: 'https://api.partner.microsoft.com'
            }
            {
              name: 'REFERRAL_GATEWAY_LOG__FORMAT'
              value: 'json'
            }
            {
              // The application may still call while it stops.
              name: 'REFERRAL_GATEWAY_DRAIN__MIN'
              value: '20s'
            }
            {
              name: 'REFERRAL_GATEWAY_DRAIN__MAX'
              value: '25s'
            }
          ]
          probes: [
            {
              type: 'Startup'
              httpGet: {
                path: '/readyz'
                port: 4281
              }
              periodSeconds: 1
              failureThreshold: 10
            }
            {
              type: 'Readiness'
              httpGet: {
                path: '/readyz'
                port: 4281
              }
              periodSeconds: 5
              timeoutSeconds: 2
            }
            {
              type: 'Liveness'
              httpGet: {
                path: '/livez'
                port: 4281
              }
              periodSeconds: 10
              timeoutSeconds: 2
              failureThreshold: 3
            }
          ]
        }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: 1
      }
    }
  }
}
